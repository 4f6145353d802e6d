;; A string of all lengths there are.
;; chat 38001 out of bounds
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 1))
  (i32.store (i32.const 8208) (i32.const -1)) (i32.const 8192))
