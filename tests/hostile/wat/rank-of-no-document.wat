;; Ranks a document that was not given.
;; rerank 38000 no valid answer
(data (i32.const 12288) "\ff\ff\ff\ff\00\00\00\00\00\00\00\00\00\00\f0\3f")
(func (export "pg-llm:guest/rerank@1.0.0#rerank") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 12288)) (i32.store (i32.const 8204) (i32.const 1)) (i32.const 8192))
