;; Makes an integer of what is not a number.
;; chat 38001 conversion to integer
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (i32.trunc_f64_s (f64.const nan)))
