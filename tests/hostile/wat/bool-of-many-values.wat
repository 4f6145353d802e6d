;; A boolean that is 7, and a status beyond all: true, and no status of HTTP.
;; chat 38000 65535
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $fail (i32.const 0) (i32.const 0) (i32.const 0)))
  (i32.store8 (i32.const 8202) (i32.const 1)) (i32.store16 (i32.const 8204) (i32.const 65535))
  (i32.store8 (i32.const 8248) (i32.const 1)) (i32.store8 (i32.const 8249) (i32.const 0)) (i32.const 8192))
