;; Line breaks, terminal sequences, C1 controls and turned text, in the message, the code and the request's id.
;; chat 38000 forged
(data (i32.const 12288) "\0a2026-01-01 00:00:00 UTC [1] FATAL:  forged\0d\1b[2J\1b]0;title\07\00\e2\80\ae\c2\9b31m")
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $fail (i32.const 9) (i32.const 12288) (i32.const 67)))
  (i32.store8 (i32.const 8208) (i32.const 1)) (i32.store (i32.const 8212) (i32.const 12288)) (i32.store (i32.const 8216) (i32.const 67))
  (i32.store8 (i32.const 8252) (i32.const 1)) (i32.store (i32.const 8256) (i32.const 12288)) (i32.store (i32.const 8260) (i32.const 67)) (i32.const 8192))
