;; JSON as deep as it is long.
;; chat-json ok
;; chat-raw ok
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $ok)) (drop (memory.grow (i32.const 8))) (memory.fill (i32.const 262144) (i32.const 91) (i32.const 100000)) (memory.fill (i32.const 362144) (i32.const 93) (i32.const 100000))
  (i32.store8 (i32.const 8248) (i32.const 1))
  (i32.store8 (i32.const 8336) (i32.const 1)) (i32.store (i32.const 8340) (i32.const 262144)) (i32.store (i32.const 8344) (i32.const 200000))
  (i32.store8 (i32.const 8360) (i32.const 1)) (i32.store (i32.const 8364) (i32.const 262144)) (i32.store (i32.const 8368) (i32.const 200000)) (i32.const 8192))
