;; A failure of a kind that does not exist.
;; chat 38001 discriminant
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $fail (i32.const 200) (i32.const 0) (i32.const 0)))
