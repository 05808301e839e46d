#include "base/read_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace sharder {
namespace {

std::unexpected<Error> system_failure(const std::filesystem::path& path) {
  return fail(ErrorCode::kInvalid, path.string() + ": " + std::system_category().message(errno));
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  // open() instead of a stream, because a stream's failures have no errno.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return system_failure(path);
  }
  std::string text;
  std::array<char, 16'384> chunk;
  Result<std::string> result;
  for (;;) {
    const ssize_t count = read(file, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      result = system_failure(path);
      break;
    }
    if (count == 0) {
      result = std::move(text);
      break;
    }
    text.append(chunk.data(), static_cast<std::size_t>(count));
    if (text.size() > max_bytes) {
      result = fail(ErrorCode::kInvalid, path.string() + ": larger than " + std::to_string(max_bytes) + " bytes");
      break;
    }
  }
  close(file);
  return result;
}

}  // namespace sharder
