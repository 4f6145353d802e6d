;; A table that grows as long as it may.
;; chat 38001 table elements
(table $t 0 funcref)
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable)
