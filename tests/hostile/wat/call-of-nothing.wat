;; Calls a function by an empty place of a table.
;; chat 38001 uninitialized
(table 4 funcref)
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call_indirect (i32.const 1)) (i32.const 0))
