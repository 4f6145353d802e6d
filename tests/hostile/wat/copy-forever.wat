;; The same, copied to and fro.
;; set pg_llm.guest_cpu_ms = 100
;; chat 38001 computed for more than 100 ms
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (memory.grow (i32.const 900)))
  (loop $again (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 58982400)) (br $again)) unreachable)
