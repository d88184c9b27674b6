/*
 * Binds the C library's functions by the versions that they had before glibc 2.32, so that a program that is linked against
 * a newer glibc starts on 2.28.
 *
 * A linker takes a function's newest version, and glibc 2.32 to 2.34 gave new ones to what it moved from libpthread, libdl
 * and libresolv into libc. The old versions are still there, in every glibc. The linker's --wrap (see ld(1)) turns each call
 * of f into one of __wrap_f, which is defined here and calls f by its old version; scripts/release passes it for each WRAP
 * below. On an old system these functions are in the old libraries, which scripts/release therefore names as needed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stddef.h>

/* The first version of glibc on x86-64, and with it that of all its older functions. */
#define FIRST "GLIBC_2.2.5"

#define WRAP(type, name, parameters, arguments) \
	__asm__(".symver old_" #name "," #name "@" FIRST); \
	extern type old_##name parameters; \
	type __wrap_##name parameters; \
	type __wrap_##name parameters { return old_##name arguments; }

WRAP(int, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg), (t, a, f, arg))
WRAP(int, pthread_getattr_np, (pthread_t t, pthread_attr_t *a), (t, a))
WRAP(int, pthread_attr_getstack, (const pthread_attr_t *a, void **at, size_t *size), (a, at, size))
WRAP(int, pthread_attr_getstacksize, (const pthread_attr_t *a, size_t *size), (a, size))
WRAP(int, pthread_key_create, (pthread_key_t *key, void (*end)(void *)), (key, end))
WRAP(int, pthread_join, (pthread_t thread, void **result), (thread, result))
WRAP(int, pthread_setspecific, (pthread_key_t key, const void *value), (key, value))
WRAP(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))
WRAP(void *, dlopen, (const char *file, int mode), (file, mode))
WRAP(void *, dlsym, (void *handle, const char *name), (handle, name))
WRAP(int, dlclose, (void *handle), (handle))
WRAP(char *, dlerror, (void), ())

/* Before 2.34 the function had another name, which the header hid by a macro. */
#undef res_search
__asm__(".symver old_res_search,__res_search@" FIRST);
extern int old_res_search(const char *name, int class, int type, unsigned char *answer, int size);
int __wrap_res_search(const char *name, int class, int type, unsigned char *answer, int size);
int __wrap_res_search(const char *name, int class, int type, unsigned char *answer, int size) {
	return old_res_search(name, class, type, answer, size);
}

/*
 * The start of the program. Since 2.34 the C library itself calls the program's constructors; before, the start files of the
 * program did, and the new ones no longer have that. The old version of the function calls what it is given for it, on old
 * and new systems alike.
 */
typedef void constructor(int, char **, char **);
extern constructor *__init_array_start[] __attribute__((visibility("hidden")));
extern constructor *__init_array_end[] __attribute__((visibility("hidden")));
extern void _init(void);

static void construct(int argc, char **argv, char **envp) {
	_init();
	for (constructor **c = __init_array_start; c < __init_array_end; c++)
		(*c)(argc, argv, envp);
}

typedef int main_function(int, char **, char **);
__asm__(".symver old_start,__libc_start_main@" FIRST);
extern int old_start(main_function *main, int argc, char **argv, constructor *init, void (*fini)(void), void (*rtld_fini)(void), void *stack);
int __wrap___libc_start_main(main_function *main, int argc, char **argv, constructor *init, void (*fini)(void), void (*rtld_fini)(void), void *stack);
int __wrap___libc_start_main(main_function *main, int argc, char **argv, constructor *init, void (*fini)(void), void (*rtld_fini)(void), void *stack) {
	(void)init;
	return old_start(main, argc, argv, construct, fini, rtld_fini, stack);
}
