;; Drops a handle that nobody gave it.
;; upload 22023 handle
(import "pg-llm:guest/http@1.0.0" "[resource-drop]response" (func $drop (param i32)))
(func (export "pg-llm:guest/describe@1.0.0#describe") (result i32)
  (call $drop (i32.const 7)) (i32.const 64))
