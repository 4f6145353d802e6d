;; A vector of no dimension.
;; embed 38000 no valid answer
(func (export "pg-llm:guest/embeddings@1.0.0#max-inputs") (param i32 i32 i32 i32) (result i32) (i32.const 10))
(func (export "pg-llm:guest/embeddings@1.0.0#embed") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 12288)) (i32.store (i32.const 8204) (i32.const 1))
  (i32.store (i32.const 12288) (i32.const 12544)) (i32.store (i32.const 12292) (i32.const 0)) (i32.const 8192))
