;; A stream whose handle was never given.
;; stream 38001 handle
(func (export "pg-llm:guest/chat@1.0.0#stream") (param i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8200) (i32.const 12345678)) (i32.const 8192))
