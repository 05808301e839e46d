#pragma once

#include <string>

#include "shard/text_packer.h"

namespace sharder::testing {

// Texts that stay as they are when they are packed: for tests of what keeps them.
inline shard::PackedText packed(const std::string& text) {
  return shard::TextPacker().pack(text);
}

inline std::string unpacked(const shard::PackedText& text) {
  return shard::TextPacker().unpack(text);
}

}  // namespace sharder::testing
