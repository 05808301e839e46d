#pragma once

#include <string>
#include <string_view>

// Small pieces of JSON (RFC 8259) and of its pointers (RFC 6901), without allocation. Strings are written by
// base/json_string.h.
namespace sharder::webhook {

// Whether a JSON string has escapes, and whether all of them are valid: known ones, four hexadecimal digits, surrogates
// in pairs. `text` is behind the opening quote. The string must be closed; eight bytes behind its closing quote may be
// read.
enum class Escapes { kNone, kValid, kInvalid };
Escapes check_escapes(const char* text);

// Whether `text` is a JSON number, of any size.
bool is_number(std::string_view text);

// Appends `key` as one reference token of a JSON pointer ("a/b" is "a~1b").
void append_pointer_token(std::string& out, std::string_view key);

}  // namespace sharder::webhook
