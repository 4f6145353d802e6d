;; An event of a kind that does not exist.
;; stream 38001 discriminant
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (drop (call $event (i32.const 99))) (i32.const 8192))
