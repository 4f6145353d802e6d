;; Says that the statement was cancelled.
;; chat 38001
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $fail (i32.const 17) (i32.const 0) (i32.const 0)))
