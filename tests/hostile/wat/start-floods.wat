;; Logs before anybody has called it, when nothing is in place yet for the host to be called by.
;; upload 22023 uninitialized
(import "pg-llm:guest/log@1.0.0" "log" (func $log (param i32 i32 i32)))
(func $go (local $n i32)
  (loop $again
    (call $log (i32.const 4) (i32.const 12288) (i32.const 2))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000000)))))
(start $go)
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
