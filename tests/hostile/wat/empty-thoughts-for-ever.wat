;; Encrypted thoughts of no bytes, the same.
;; stream 38001 larger than
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (call $event (i32.const 4)))
