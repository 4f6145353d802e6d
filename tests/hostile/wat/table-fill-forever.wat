;; The same with a table.
;; set pg_llm.guest_cpu_ms = 100
;; chat 38001 computed for more than 100 ms
(table $t 90000 funcref)
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (loop $again (table.fill $t (i32.const 0) (ref.null func) (i32.const 90000)) (br $again)) unreachable)
