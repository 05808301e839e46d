#pragma once

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

#include "http/message.h"

namespace sharder::http {

// "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", made anew once a second. One thread.
class DateLine {
 public:
  std::string_view at(std::time_t now);

 private:
  std::time_t second_ = -1;
  std::string line_;
};

struct AnswerOptions {
  bool close = false;      // add `Connection: close`
  bool omit_body = false;  // the request was a HEAD
};

// Appends the answer as it goes on the wire. False, and nothing appended, when a header of `response` has characters
// that would break the message.
[[nodiscard]] bool append_answer(std::string& out, const Response& response, std::string_view date_line,
                                 AnswerOptions options);

}  // namespace sharder::http
