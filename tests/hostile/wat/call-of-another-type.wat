;; Calls a function as if it were another.
;; chat 38001 indirect call type mismatch
(type $nothing (func))
(table 4 funcref) (elem (i32.const 0) $other) (func $other (param i64))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call_indirect (type $nothing) (i32.const 0)) (i32.const 0))
