;; Seven hundred thousand tokens of no bytes.
;; chat 38001 larger than
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $ok)) (drop (memory.grow (i32.const 300)))
  (i32.store (i32.const 8352) (i32.const 262144)) (i32.store (i32.const 8356) (i32.const 700000)) (i32.const 8192))
