#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sharder::shard {

// A text as a TextPacker has packed it. A copy shares its bytes. False: there is none.
class PackedText {
 public:
  PackedText() = default;
  explicit operator bool() const { return bytes_ != nullptr; }
  std::size_t size() const { return bytes_ ? bytes_->size() : 0; }

 private:
  friend class TextPacker;
  explicit PackedText(std::string bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {}

  std::shared_ptr<const std::string> bytes_;
};

// Packs the texts of one resource's objects for a cache (zstd). Such texts are alike and short, so the first kSamples
// of them, which stay as they are, make a dictionary for all that follow. A shard with fewer objects has nothing to
// save.
//
// One thread packs. Any thread unpacks what a lock or a message has brought it.
class TextPacker {
 public:
  static constexpr std::size_t kSamples = 200;
  static constexpr std::size_t kSampleBytes = 4 << 10;  // of each, so that no large one is all of the dictionary
  static constexpr std::size_t kDictionaryBytes = 16 << 10;

  TextPacker();
  ~TextPacker();
  TextPacker(const TextPacker&) = delete;
  TextPacker& operator=(const TextPacker&) = delete;

  PackedText pack(std::string_view text);
  // `packed` is this packer's, and there is one.
  std::string unpack(const PackedText& packed) const;

 private:
  struct Dictionary;

  void sample(std::string_view text);

  std::string samples_;  // one after the other, until there are enough
  std::vector<std::size_t> sample_sizes_;
  std::unique_ptr<const Dictionary> dictionary_;  // null: not yet, or none can be made
};

}  // namespace sharder::shard
