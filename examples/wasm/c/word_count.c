// Word count in C, without any library: the map and the reduce function of a job, in one component.
// README.md has the commands that make it.
//
// A list or a string is an address and a length, as two arguments or as two fields. Those that the host hands over it
// first asks `cabi_realloc` for; they are the component's own from then on. What a function returns may be taken back
// in `cabi_post_…`, which the host calls when it has read it. That is all there is to the "canonical ABI" here.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("mapreduce:function/host@1.0.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

typedef struct {
    const uint8_t *bytes;
    size_t bytes_len;
    const uint32_t *ends;
    size_t ends_len;
} strings; // tuple<list<u8>, list<u32>>

typedef struct {
    uint32_t is_error;
    const char *message;
    size_t message_len;
} result; // result<_, string>

IMPORT("emit") void host_emit(const uint8_t *bytes, size_t bytes_len, const uint32_t *ends, size_t ends_len);
IMPORT("next-values") void host_next_values(strings *values);

// Memory is a heap that only grows while a function runs, and is empty again when it has returned.

extern uint8_t __heap_base;
static uint8_t *top = &__heap_base;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_len, size_t align, size_t len) {
    (void)old, (void)old_len; // The host doesn't make lists longer.
    uint8_t *start = (uint8_t *)(((uintptr_t)top + align - 1) & -align);
    top = start + len;
    size_t have = __builtin_wasm_memory_size(0) << 16;
    if ((size_t)top > have && __builtin_wasm_memory_grow(0, ((size_t)top - have + 0xffff) >> 16) == SIZE_MAX)
        __builtin_trap();
    return start;
}

EXPORT("cabi_post_map") void cabi_post_map(result *returned) {
    (void)returned;
    top = &__heap_base;
}

EXPORT("cabi_post_reduce") void cabi_post_reduce(result *returned) { cabi_post_map(returned); }

// A pair, by itself.
static void emit(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len) {
    uint8_t *bytes = cabi_realloc(NULL, 0, 1, key_len + value_len);
    __builtin_memcpy(bytes, key, key_len);
    __builtin_memcpy(bytes + key_len, value, value_len);
    uint32_t ends[2] = {key_len, key_len + value_len};
    host_emit(bytes, ends[1], ends, 2);
}

// Words on their way to the host, each with the value 1.

#define ROOM (64 << 10)
static uint8_t out[ROOM];
static uint32_t out_ends[ROOM / 4];
static size_t out_len, out_ends_len;

static void flush(void) {
    host_emit(out, out_len, out_ends, out_ends_len);
    out_len = out_ends_len = 0;
}

static void push(const uint8_t *word, size_t len) {
    if (len >= ROOM) {
        emit(word, len, (const uint8_t *)"1", 1);
        return;
    }
    if (out_len + len + 1 > ROOM || out_ends_len + 2 > ROOM / 4)
        flush();
    __builtin_memcpy(out + out_len, word, len);
    out_ends[out_ends_len++] = out_len += len;
    out[out_len++] = '1';
    out_ends[out_ends_len++] = out_len;
}

static bool is_space(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static result *success(void) {
    static result none;
    return &none;
}

// A line → each of its words, with 1. Of the strings every second one is a line; those before them are the keys.
EXPORT("map") result *map(const uint8_t *bytes, size_t bytes_len, const uint32_t *ends, size_t ends_len) {
    (void)bytes_len;
    for (size_t i = 1; i < ends_len; i += 2) {
        const uint8_t *at = bytes + ends[i - 1], *end = bytes + ends[i];
        for (;;) {
            while (at < end && is_space(*at))
                at++;
            if (at == end)
                break;
            const uint8_t *word = at;
            while (at < end && !is_space(*at))
                at++;
            push(word, at - word);
        }
    }
    flush();
    return success();
}

static bool parse(const uint8_t *at, const uint8_t *end, uint64_t *number) {
    if (at == end)
        return false;
    for (*number = 0; at < end; at++) {
        uint8_t digit = *at - '0';
        if (digit > 9)
            return false;
        *number = 10 * *number + digit;
    }
    return true;
}

// A word and its numbers → the word and their sum. It does for `combine` too: a sum may be summed again.
EXPORT("reduce")
result *reduce(const uint8_t *word, size_t word_len, const uint8_t *bytes, size_t bytes_len, const uint32_t *ends,
               size_t ends_len, uint32_t more) {
    strings numbers = {bytes, bytes_len, ends, ends_len};
    uint8_t *mark = top;
    uint64_t sum = 0, number;
    while (numbers.ends_len > 0) {
        for (size_t i = 0; i < numbers.ends_len; i++) {
            size_t start = i == 0 ? 0 : numbers.ends[i - 1];
            if (!parse(numbers.bytes + start, numbers.bytes + numbers.ends[i], &number)) {
                static const char message[] = "a value that is no number";
                static result error = {1, message, sizeof message - 1};
                return &error;
            }
            sum += number;
        }
        if (!more)
            break;
        top = mark; // Those that are summed make room for the next.
        host_next_values(&numbers);
    }

    uint8_t digits[20], *first = digits + sizeof digits;
    do
        *--first = '0' + sum % 10;
    while (sum /= 10);
    emit(word, word_len, first, digits + sizeof digits - first);
    return success();
}

EXPORT("teardown") result *teardown(void) { return success(); }
