// What XLA passes to a function that it calls, and XLA's threads.
//
// By XLA's C interface: with its C++ interface all would take three times as long to compile.

#ifndef JAXDQN_XLA_CALL_H_
#define JAXDQN_XLA_CALL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "xla/ffi/api/c_api.h"

namespace jaxdqn {

// Whether XLA only asked which version of the interface this is, and has its answer.
inline bool AnswersQuery(XLA_FFI_CallFrame* frame) {
  auto* const asked = frame->extension_start;
  if (asked == nullptr || asked->type != XLA_FFI_Extension_Metadata) return false;
  XLA_FFI_Metadata* const metadata =
      reinterpret_cast<XLA_FFI_Metadata_Extension*>(asked)->metadata;
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = XLA_FFI_API_MINOR;
  metadata->traits = 0;
  return true;
}

// One call of a function.
class Call {
 public:
  explicit Call(XLA_FFI_CallFrame* frame) : frame_(frame) {}

  const XLA_FFI_Buffer& Argument(int n) const {
    return *static_cast<XLA_FFI_Buffer*>(frame_->args.args[n]);
  }

  const XLA_FFI_Buffer& Result(int n) const {
    return *static_cast<XLA_FFI_Buffer*>(frame_->rets.rets[n]);
  }

  // An attribute of 64 bits; 0 where there is none of the name.
  int64_t Attribute(std::string_view name) const {
    const XLA_FFI_Attrs& attributes = frame_->attrs;
    for (int64_t i = 0; i < attributes.size; i++) {
      if (name == std::string_view(attributes.names[i]->ptr, attributes.names[i]->len)) {
        return *static_cast<int64_t*>(static_cast<XLA_FFI_Scalar*>(attributes.attrs[i])->value);
      }
    }
    return 0;
  }

  // What a function returns that cannot do what it is asked.
  XLA_FFI_Error* Refuse(const char* message) const {
    XLA_FFI_Error_Create_Args args = {};
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message;
    args.errc = XLA_FFI_Error_Code_INVALID_ARGUMENT;
    return frame_->api->XLA_FFI_Error_Create(&args);
  }

  // Calls body(0) to body(count - 1), on XLA's threads and on this one.
  template <typename Body>
  void ForEach(int64_t count, const Body& body) const {
    const auto work = std::make_shared<Work>();
    work->count = count;
    work->body = &body;
    work->call = [](const void* body, int64_t i) { (*static_cast<const Body*>(body))(i); };
    for (int64_t i = 1; i < std::min(NumThreads(), count); i++) Start(work);
    work->Run();
    while (work->done < count) std::this_thread::yield();
  }

 private:
  // A task that starts after all is done still looks at the counters, no longer at the body.
  struct Work {
    std::atomic<int64_t> next{0}, done{0};
    int64_t count;
    const void* body;
    void (*call)(const void* body, int64_t i);

    void Run() {
      for (int64_t i; (i = next++) < count; done++) call(body, i);
    }
  };

  int64_t NumThreads() const {
    int64_t count = 1;
    XLA_FFI_ThreadPool_NumThreads_Args args = {};
    args.struct_size = XLA_FFI_ThreadPool_NumThreads_Args_STRUCT_SIZE;
    args.ctx = frame_->ctx;
    args.num_threads = &count;
    return Succeeds(frame_->api->XLA_FFI_ThreadPool_NumThreads(&args)) ? count : 1;
  }

  void Start(std::shared_ptr<Work> work) const {
    auto* const data = new std::shared_ptr<Work>(std::move(work));
    XLA_FFI_ThreadPool_Schedule_Args args = {};
    args.struct_size = XLA_FFI_ThreadPool_Schedule_Args_STRUCT_SIZE;
    args.ctx = frame_->ctx;
    args.data = data;
    args.task = [](void* data) {
      const std::unique_ptr<std::shared_ptr<Work>> work(static_cast<std::shared_ptr<Work>*>(data));
      (*work)->Run();
    };
    if (!Succeeds(frame_->api->XLA_FFI_ThreadPool_Schedule(&args))) delete data;
  }

  bool Succeeds(XLA_FFI_Error* error) const {
    if (error == nullptr) return true;
    XLA_FFI_Error_Destroy_Args args = {};
    args.struct_size = XLA_FFI_Error_Destroy_Args_STRUCT_SIZE;
    args.error = error;
    frame_->api->XLA_FFI_Error_Destroy(&args);
    return false;
  }

  XLA_FFI_CallFrame* frame_;
};

}  // namespace jaxdqn

#endif
