#include "kube/access/token_file.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/read_file.h"

namespace sharder::kube {

Result<std::string> read_token(const std::string& path) {
  auto text = read_file(path);
  if (!text) {
    return text;
  }
  *text = trim(*text, " \t\r\n");
  if (text->empty()) {
    return fail(ErrorCode::kInvalid, path + ": no token in it");
  }
  if (!valid_header_value(*text)) {
    return fail(ErrorCode::kInvalid, path + ": not a token: control characters in it");
  }
  return text;
}

bool valid_header_value(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

}  // namespace sharder::kube
