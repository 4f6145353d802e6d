;; A million profiles that share their bytes.
;; upload 22023
(func (export "pg-llm:guest/describe@1.0.0#describe") (result i32)
  (drop (call $ok)) (drop (memory.grow (i32.const 800))) (i32.store offset=24 (i32.const 16384) (i32.const 262144)) (i32.store offset=28 (i32.const 16384) (i32.const 1000000)) (i32.const 16384))
