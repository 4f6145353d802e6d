;; Pieces of no text, without end.
;; set pg_llm.guest_cpu_ms = 100
;; stream 38001 computed for more than 100 ms
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (call $event (i32.const 1)))
