// What a process says as it is aborted because another one cannot be reached any more.
// JAX aborts the processes of a run from a thread of its own when the first one ends,
// where no exception and no handler in Python comes to run.

#if defined(__unix__) || defined(__APPLE__)

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace {

constexpr int kPatience = 1000;  // milliseconds to wait for an answer

sockaddr_storage address;
socklen_t address_size;
char text[512];
struct sigaction before;

bool Answers() {
  const int fd = socket(address.ss_family, SOCK_STREAM, 0);
  if (fd < 0) return true;  // nobody knows
  fcntl(fd, F_SETFL, O_NONBLOCK);
  int error = -1;
  socklen_t size = sizeof error;
  pollfd waits{fd, POLLOUT, 0};
  connect(fd, reinterpret_cast<const sockaddr*>(&address), address_size);
  if (poll(&waits, 1, kPatience) == 1) {
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  close(fd);
  return error == 0;
}

// Calls nothing that a handler of signals may not.
void OnAbort(int signal) {
  if (!Answers()) {
    for (size_t at = 0, size = std::strlen(text); at < size;) {
      const ssize_t done = write(STDERR_FILENO, text + at, size - at);
      if (done <= 0) break;
      at += done;
    }
  }
  sigaction(SIGABRT, &before, nullptr);
  raise(signal);  // on return
}

}  // namespace

// Lets an abort of this process say `words` if nobody listens at `host` and `port` then.
extern "C" __attribute__((visibility("default"))) void lamina_say_if_gone(
    const char* host, const char* port, const char* words) {
  addrinfo* found = nullptr;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host, port, &hints, &found) != 0) return;
  std::memcpy(&address, found->ai_addr, found->ai_addrlen);
  address_size = found->ai_addrlen;
  freeaddrinfo(found);
  std::strncpy(text, words, sizeof text - 1);
  struct sigaction ours{};
  ours.sa_handler = OnAbort;
  sigaction(SIGABRT, &ours, &before);
}

#endif
