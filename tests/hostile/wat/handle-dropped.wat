;; A stream that is closed when it is handed over.
;; stream 38001 handle
(import "[export]pg-llm:guest/chat@1.0.0" "[resource-drop]answer-stream" (func $drop (param i32)))
(func (export "pg-llm:guest/chat@1.0.0#stream") (param i32) (result i32)
  (drop (call $stream)) (call $drop (i32.load (i32.const 8200))) (i32.const 8192))
