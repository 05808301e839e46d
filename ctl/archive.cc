#include "ctl/archive.h"

#include <zlib.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace sharder::ctl {

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameLength = 100;

// A header of POSIX's ustar format: fields of fixed length, numbers in octal.
std::string header(const std::string& path, std::size_t size) {
  std::array<char, kBlock> block{};
  const auto put = [&block](std::size_t at, std::string_view text) {
    std::memcpy(&block[at], text.data(), text.size());
  };
  const auto put_octal = [&put](std::size_t at, int digits, std::size_t value) {
    std::array<char, 24> text{};
    const int length = std::snprintf(text.data(), text.size(), "%0*zo", digits, value);
    put(at, {text.data(), static_cast<std::size_t>(length)});
  };
  put(0, std::string_view(path).substr(0, kNameLength));
  put_octal(100, 7, 0644);  // mode
  put_octal(108, 7, 0);     // uid
  put_octal(116, 7, 0);     // gid
  put_octal(124, 11, size);
  put_octal(136, 11, 0);  // mtime
  put(148, "        ");   // checksum, as it counts for itself
  block[156] = '0';       // a file
  put(257, "ustar");
  put(263, "00");
  std::size_t sum = 0;
  for (const char c : block) {
    sum += static_cast<unsigned char>(c);
  }
  put_octal(148, 6, sum);
  block[154] = '\0';
  return {block.data(), block.size()};
}

std::string gzip(const std::string& bytes) {
  constexpr int kGzip = 15 + 16;  // the largest window, and a header of gzip, which has no time
  constexpr int kMemory = 8;
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, kMemory, Z_DEFAULT_STRATEGY) != Z_OK) {
    return {};
  }
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  std::string input = bytes;  // zlib's pointers are not const
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

std::string tar_gz(std::string_view top, const std::map<std::string, std::string>& files) {
  std::string tar;
  for (const auto& [path, contents] : files) {
    tar += header(std::string(top) + "/" + path, contents.size());
    tar += contents;
    tar.append((kBlock - contents.size() % kBlock) % kBlock, '\0');
  }
  tar.append(2 * kBlock, '\0');
  return gzip(tar);
}

}  // namespace sharder::ctl
