;; A score that is not a number.
;; rerank 38000 no valid answer
(data (i32.const 12288) "\00\00\00\00\00\00\00\00\00\00\00\00\00\00\f8\7f")
(func (export "pg-llm:guest/rerank@1.0.0#rerank") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 12288)) (i32.store (i32.const 8204) (i32.const 1)) (i32.const 8192))
