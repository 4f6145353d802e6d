;; Drops the same handle twice.
;; chat 38001 handle
(import "[export]pg-llm:guest/chat@1.0.0" "[resource-drop]answer-stream" (func $drop (param i32)))
(global $h (mut i32) (i32.const 0))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (global.set $h (call $new (i32.const 1))) (call $drop (global.get $h)) (call $drop (global.get $h)) (call $ok))
