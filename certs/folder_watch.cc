#include "certs/folder_watch.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace sharder::certs {
namespace {

// Everything that can change what a name in the folder leads to, and the end of the folder itself.
constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

int make_stop_event() {
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event < 0) {
    throw std::system_error(errno, std::system_category(), "eventfd");
  }
  return event;
}

}  // namespace

// The inotify side. Used by the watch's thread alone.
class FolderWatch::Notifier {
 public:
  Notifier() : fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), error_(fd_ < 0 ? errno : 0) {}
  ~Notifier() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // -1 when inotify is not available; error() is the reason.
  int fd() const { return fd_; }
  int error() const { return error_; }

  // Watches the folder that has this name now. The folder that had it before may have been moved away, so each call
  // adds a watch. For the same folder the kernel returns the same watch.
  void watch(const std::filesystem::path& folder) {
    if (fd_ < 0) {
      return;
    }
    const int watch = inotify_add_watch(fd_, folder.c_str(), kEvents);
    if (watch_ >= 0 && watch != watch_) {
      inotify_rm_watch(fd_, watch_);  // fails when the folder is gone, and the watch with it
    }
    watch_ = watch;
  }

  // Drops the events that have come. It does not matter which they were: the check looks at everything.
  void drain() const {
    std::array<char, 16 * (sizeof(inotify_event) + NAME_MAX + 1)> events;
    while (fd_ >= 0 && read(fd_, events.data(), events.size()) > 0) {
    }
  }

 private:
  const int fd_;
  const int error_;
  int watch_ = -1;
};

FolderWatch::FolderWatch(std::filesystem::path folder, std::string thread_name, Check check, Logger log)
    : folder_(std::move(folder)),
      thread_name_(std::move(thread_name)),
      check_(std::move(check)),
      log_(std::move(log)),
      stop_event_(make_stop_event()),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

FolderWatch::~FolderWatch() {
  thread_.request_stop();
  const std::uint64_t one = 1;
  // Cannot fail: the counter is far from full.
  [[maybe_unused]] const ssize_t written = write(stop_event_, &one, sizeof(one));
  thread_.join();
  close(stop_event_);
}

void FolderWatch::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), thread_name_.substr(0, 15).c_str());
  Notifier notifier;
  if (notifier.fd() < 0) {
    log_.warn("cannot watch the folder for changes, looking at it from time to time",
              {{"folder", folder_.string()}, {"error", std::system_category().message(notifier.error())}});
  }
  try {
    while (!stop.stop_requested()) {
      // In this order a change that comes during the check wakes the poll below.
      notifier.drain();
      notifier.watch(folder_);
      const std::chrono::milliseconds pause = check_();
      std::array<pollfd, 2> wanted{
          {{.fd = stop_event_, .events = POLLIN, .revents = 0}, {.fd = notifier.fd(), .events = POLLIN, .revents = 0}}};
      const auto timeout = std::clamp<std::chrono::milliseconds::rep>(pause.count(), 0, INT_MAX);
      poll(wanted.data(), wanted.size(), static_cast<int>(timeout));  // -1 as a descriptor is skipped
    }
  } catch (const std::exception& error) {
    log_.error("folder watch failed, the process ends",
               {{"folder", folder_.string()}, {"error", exception_text(error)}});
    std::terminate();
  }
}

}  // namespace sharder::certs
