#include "shard/text_packer.h"

#include <zdict.h>
#include <zstd.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

namespace sharder::shard {

namespace {

constexpr int kLevel = 3;  // zstd's default
// The first byte of what is packed.
constexpr char kPlain = 'p';
constexpr char kCompressed = 'z';

template <auto Free>
struct FreeWith {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

template <class Pointer>
Pointer allocated(Pointer pointer) {
  return pointer ? std::move(pointer) : throw std::bad_alloc();
}

ZSTD_CCtx* compressor() {
  thread_local const auto context = allocated(std::unique_ptr<ZSTD_CCtx, FreeWith<ZSTD_freeCCtx>>(ZSTD_createCCtx()));
  return context.get();
}

ZSTD_DCtx* decompressor() {
  thread_local const auto context = allocated(std::unique_ptr<ZSTD_DCtx, FreeWith<ZSTD_freeDCtx>>(ZSTD_createDCtx()));
  return context.get();
}

std::string plain(std::string_view text) {
  std::string packed;
  packed.reserve(1 + text.size());
  packed += kPlain;
  packed += text;
  return packed;
}

}  // namespace

struct TextPacker::Dictionary {
  explicit Dictionary(const std::string& bytes)
      : to_compress(allocated(decltype(to_compress)(ZSTD_createCDict(bytes.data(), bytes.size(), kLevel)))),
        to_decompress(allocated(decltype(to_decompress)(ZSTD_createDDict(bytes.data(), bytes.size())))) {}

  std::unique_ptr<ZSTD_CDict, FreeWith<ZSTD_freeCDict>> to_compress;
  std::unique_ptr<ZSTD_DDict, FreeWith<ZSTD_freeDDict>> to_decompress;
};

TextPacker::TextPacker() = default;
TextPacker::~TextPacker() = default;

PackedText TextPacker::pack(std::string_view text) {
  if (sample_sizes_.size() < kSamples) {
    sample(text);
    return PackedText(plain(text));
  }
  if (!dictionary_) {
    return PackedText(plain(text));
  }
  static thread_local std::string buffer;
  buffer.resize(1 + ZSTD_compressBound(text.size()));
  buffer[0] = kCompressed;
  const std::size_t size = ZSTD_compress_usingCDict(compressor(), buffer.data() + 1, buffer.size() - 1, text.data(),
                                                    text.size(), dictionary_->to_compress.get());
  return PackedText(ZSTD_isError(size) != 0 || size >= text.size() ? plain(text) : buffer.substr(0, 1 + size));
}

std::string TextPacker::unpack(const PackedText& packed) const {
  const std::string_view bytes = std::string_view(*packed.bytes_).substr(1);
  if (packed.bytes_->front() == kPlain) {
    return std::string(bytes);
  }
  std::string text(ZSTD_getFrameContentSize(bytes.data(), bytes.size()), '\0');
  const std::size_t size = ZSTD_decompress_usingDDict(decompressor(), text.data(), text.size(), bytes.data(),
                                                      bytes.size(), dictionary_->to_decompress.get());
  if (size != text.size()) {
    throw std::logic_error("a packed text is damaged");
  }
  return text;
}

void TextPacker::sample(std::string_view text) {
  text = text.substr(0, kSampleBytes);
  samples_ += text;
  sample_sizes_.push_back(text.size());
  if (sample_sizes_.size() < kSamples) {
    return;
  }
  std::string dictionary(kDictionaryBytes, '\0');
  const std::size_t size = ZDICT_trainFromBuffer(dictionary.data(), dictionary.size(), samples_.data(),
                                                 sample_sizes_.data(), static_cast<unsigned>(sample_sizes_.size()));
  if (ZDICT_isError(size) == 0) {
    dictionary.resize(size);
    dictionary_ = std::make_unique<const Dictionary>(dictionary);
  }
  samples_ = {};
}

}  // namespace sharder::shard
