;; Five hundred thousand models of no name.
;; models 38001 larger than
(func (export "pg-llm:guest/models@1.0.0#list") (param i32 i32) (result i32)
  (drop (call $ok)) (drop (memory.grow (i32.const 600))) (i32.store (i32.const 8200) (i32.const 262144)) (i32.store (i32.const 8204) (i32.const 500000)) (i32.const 8192))
