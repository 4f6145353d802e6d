;; A part of a kind that does not exist.
;; chat 38001 discriminant
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $text (i32.const 0) (i32.const 0))) (i32.store8 (i32.const 8704) (i32.const 77)) (i32.const 8192))
