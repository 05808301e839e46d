// A watch stream and a list page of arbitrary bytes.
//
// The first byte chooses: even, a watch stream, cut into chunks of sizes that follow from the byte; odd, a list page.
// - A stream gives the same events and the same verdict in chunks as in one piece.
// - What nlohmann takes for a list, the decoder takes apart in the same way; what is no list for it may pass only
//   because the decoder does not look into the objects.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kube/codec/list_page.h"
#include "kube/watch/watch_decoder.h"
#include "tests/fuzz/require.h"

namespace {

using sharder::kube::WatchDecoder;
using sharder::kube::WatchMessage;

// A small limit, so that it is reached.
constexpr std::size_t kMaxEventBytes = 4096;

std::string decode(std::string_view stream, std::size_t chunk_bytes) {
  WatchDecoder decoder(kMaxEventBytes);
  std::string seen;
  bool is_good = true;
  while (!stream.empty() && is_good) {
    is_good = decoder
                  .feed(stream.substr(0, chunk_bytes),
                        [&](const WatchMessage& message) {
                          seen += std::to_string(static_cast<int>(message.type));
                          seen += message.initial_events_end ? '!' : ' ';
                          seen.append(message.resource_version).append(" ").append(message.object).append("\n");
                          return true;
                        })
                  .has_value();
    stream.remove_prefix(std::min(chunk_bytes, stream.size()));
  }
  return seen + (is_good ? "good" : "bad");
}

void check_stream(std::string_view stream, std::size_t chunk_bytes) {
  const std::string in_chunks = decode(stream, chunk_bytes);
  const std::string whole = decode(stream, stream.size());
  require(in_chunks == whole);
}

// nullptr when it is absent or null.
const nlohmann::json* field(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_list(const nlohmann::json& list) {
  if (!list.is_object() || !list.contains("items")) {
    return false;
  }
  if (const auto* items = field(list, "items")) {
    if (!items->is_array()) {
      return false;
    }
    for (const auto& item : *items) {
      if (!item.is_object()) {
        return false;
      }
    }
  }
  const auto* metadata = field(list, "metadata");
  if (metadata == nullptr) {
    return true;
  }
  if (!metadata->is_object()) {
    return false;
  }
  for (const char* name : {"resourceVersion", "continue"}) {
    if (const auto found = metadata->find(name); found != metadata->end() && !found->is_string()) {
      return false;
    }
  }
  return true;
}

std::string string_or_empty(const nlohmann::json* object, const char* name) {
  const auto* value = object == nullptr ? nullptr : field(*object, name);
  return value == nullptr ? "" : value->get<std::string>();
}

// Duplicate fields: the last one counts, but of a bad one before it the decoders differ.
bool has_duplicates(std::string_view text) {
  struct Sax : nlohmann::json_sax<nlohmann::json> {
    std::vector<std::set<std::string>> keys;
    bool duplicate = false;
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override {
      keys.emplace_back();
      return true;
    }
    bool key(string_t& name) override {
      duplicate |= !keys.back().insert(name).second;
      return true;
    }
    bool end_object() override {
      keys.pop_back();
      return true;
    }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }
  } sax;
  nlohmann::json::sax_parse(text, &sax);
  return sax.duplicate;
}

void check_list(std::string_view input) {
  // nlohmann skips a byte order mark, and takes a NUL for the end of the text.
  if (input.starts_with("\xef\xbb\xbf") || input.find('\0') != std::string_view::npos) {
    return;
  }
  const nlohmann::json expected = nlohmann::json::parse(input, nullptr, false);
  std::string text(input);
  const auto page = sharder::kube::decode_list_page(text);
  require(text == input);
  if (page) {
    for (const std::string_view item : page->items) {
      require(item.data() >= text.data() && item.data() + item.size() <= text.data() + text.size());
      require(item.size() >= 2 && item.front() == '{');
    }
  }
  if (expected.is_discarded() || has_duplicates(input)) {
    return;
  }
  require(page.has_value() == is_list(expected));
  if (!page) {
    return;
  }
  const auto* metadata = field(expected, "metadata");
  require(page->resource_version == string_or_empty(metadata, "resourceVersion"));
  require(page->continue_token == string_or_empty(metadata, "continue"));
  const auto* items = field(expected, "items");
  require(page->items.size() == (items == nullptr ? 0 : items->size()));
  for (std::size_t i = 0; i < page->items.size(); ++i) {
    require(nlohmann::json::parse(page->items[i], nullptr, false) == (*items)[i]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    check_stream(input, 1 + data[0] / 2);
  } else {
    check_list(input);
  }
  return 0;
}
