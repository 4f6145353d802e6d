;; More profiles than memory.
;; upload 22023 out of bounds
(func (export "pg-llm:guest/describe@1.0.0#describe") (result i32)
  (i32.store offset=24 (i32.const 16384) (i32.const 8)) (i32.store offset=28 (i32.const 16384) (i32.const 0x10000000)) (i32.const 16384))
