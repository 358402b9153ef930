#!/bin/sh
# The compiler for `cargo xtask fuzz`: in our own code libFuzzer sees which way is taken, and what is compared.
# What that is made of is compiled as ever, so that it need not be compiled again.
for word; do
    shift
    case $last$word in
    --crate-nametlstap) ours=yes ;;
    --crate-nametlstap_fuzz) ours=yes linked=yes ;;
    esac
    # libFuzzer puts itself before functions of the C library, and finds these in a shared one only.
    case $linked$word in
    yestarget-feature=+crt-static) word=target-feature=-crt-static ;;
    esac
    set -- "$@" "$word"
    last=$word
done
if [ "$ours" ]; then
    set -- "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
