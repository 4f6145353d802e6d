;; A context window beyond bigint, and a name with a NUL.
;; models ok
(data (i32.const 12800) "a\00b")
(func (export "pg-llm:guest/models@1.0.0#list") (param i32 i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 12288)) (i32.store (i32.const 8204) (i32.const 1))
  (i32.store (i32.const 12288) (i32.const 12800)) (i32.store (i32.const 12292) (i32.const 3)) (i32.store8 (i32.const 12312) (i32.const 1)) (i64.store (i32.const 12320) (i64.const -1)) (i32.const 8192))
