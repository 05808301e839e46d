#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sharder::kube {

// One page of a list: its items, and what is needed to ask for the next page.
struct ListPage {
  std::string resource_version;
  std::string continue_token;           // "" on the last page
  std::vector<std::string_view> items;  // JSON objects: views of the page's text, checked as in watch_decoder.h
};

// `text` keeps its content, but may be moved to memory with room for the parser to read past its end. kInvalid: it is
// not a list.
Result<ListPage> decode_list_page(std::string& text);

}  // namespace sharder::kube
