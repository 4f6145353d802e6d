;; Signatures of no thinking, each a part of the answer that takes no byte.
;; stream 38001 larger than
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (call $event (i32.const 3)))
