;; An event where no memory is.
;; stream 38001 out of bounds
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (i32.const -16))
