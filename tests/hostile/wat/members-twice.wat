;; The same member twice, and one without a name.
;; chat-json ok
;; chat-raw ok
(data (i32.const 12288) "{\"a\": 1, \"a\": 2, \"\": {\"\": [null]}}")
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $ok))
  (i32.store8 (i32.const 8248) (i32.const 1))
  (i32.store8 (i32.const 8336) (i32.const 1)) (i32.store (i32.const 8340) (i32.const 12288)) (i32.store (i32.const 8344) (i32.const 34))
  (i32.store8 (i32.const 8360) (i32.const 1)) (i32.store (i32.const 8364) (i32.const 12288)) (i32.store (i32.const 8368) (i32.const 34)) (i32.const 8192))
