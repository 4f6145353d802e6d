;; A reason and a body of five megabytes each.
;; chat 38000 xxx
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (memory.grow (i32.const 80))) (memory.fill (i32.const 262144) (i32.const 120) (i32.const 5000000))
  (drop (call $fail (i32.const 9) (i32.const 262144) (i32.const 5000000)))
  (i32.store8 (i32.const 8264) (i32.const 1)) (i32.store (i32.const 8268) (i32.const 262144)) (i32.store (i32.const 8272) (i32.const 5000000)) (i32.const 8192))
