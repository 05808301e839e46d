#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sharder::kube {

// One page of a list, taken apart as far as whoever asks for the next page must know it.
struct ListPage {
  std::string resource_version;
  std::string continue_token;  // "" on the last page
  std::vector<std::string_view>
      items;  // JSON objects: views into the page's text, checked as far as watch_decoder.h says
};

// `text` keeps its content, but may be moved to memory with room for the parser to read past its end. kInvalid: no
// list.
Result<ListPage> decode_list_page(std::string& text);

}  // namespace sharder::kube
