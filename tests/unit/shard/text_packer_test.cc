#include "shard/text_packer.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

using sharder::shard::PackedText;
using sharder::shard::TextPacker;

namespace {

std::string object(std::size_t number) {
  return R"({"metadata":{"name":"config-)" + std::to_string(number) +
         R"(","namespace":"production","labels":{"app.kubernetes.io/managed-by":"somebody","app.kubernetes.io/name":"app-)" +
         std::to_string(number % 10) + R"("},"uid":")" + std::to_string(number * 2654435761U) + R"("},"data":{}})";
}

}  // namespace

TEST_CASE("what was packed comes back, before and after there is a dictionary") {
  TextPacker packer;
  std::vector<std::pair<std::string, PackedText>> texts;
  for (std::size_t i = 0; i < 3 * TextPacker::kSamples; ++i) {
    texts.emplace_back(object(i), packer.pack(object(i)));
  }
  for (const std::string& odd : {std::string(), std::string("x"), std::string(1000, '\0'), std::string(300'000, 'y')}) {
    texts.emplace_back(odd, packer.pack(odd));
  }
  for (const auto& [text, packed] : texts) {
    CHECK(packer.unpack(packed) == text);
  }
}

TEST_CASE("objects that are alike take less than half of their text") {
  TextPacker packer;
  for (std::size_t i = 0; i < TextPacker::kSamples; ++i) {
    CHECK(packer.pack(object(i)).size() == object(i).size() + 1);
  }
  CHECK(packer.pack(object(1'000)).size() < object(1'000).size() / 2);
}

TEST_CASE("a text of which no dictionary can be made, or that cannot be packed, stays as it is") {
  TextPacker packer;
  for (std::size_t i = 0; i < TextPacker::kSamples; ++i) {
    packer.pack("");
  }
  CHECK(packer.pack("abc").size() == 4);
  CHECK(packer.unpack(packer.pack("abc")) == "abc");
  TextPacker other;
  for (std::size_t i = 0; i < TextPacker::kSamples; ++i) {
    other.pack(object(i));
  }
  CHECK(other.pack("\x01\x9a\x53").size() == 4);
}

TEST_CASE("a default text is none") {
  CHECK_FALSE(PackedText());
  CHECK(PackedText().size() == 0);
  CHECK(TextPacker().pack(""));
}

TEST_CASE("threads unpack what one has packed") {
  TextPacker packer;
  std::vector<PackedText> texts;
  for (std::size_t i = 0; i < 2 * TextPacker::kSamples; ++i) {
    texts.push_back(packer.pack(object(i)));
  }
  std::vector<std::size_t> wrong(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t& count : wrong) {
      threads.emplace_back([&] {
        for (std::size_t i = 0; i < texts.size(); ++i) {
          count += packer.unpack(texts[i]) == object(i) ? 0 : 1;
        }
      });
    }
  }
  CHECK(wrong == std::vector<std::size_t>(4));
}
