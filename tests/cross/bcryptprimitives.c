/* For Wine before 9, which has no bcryptprimitives.dll: the one function that Rust's standard library takes from it, by way of the one
 * that Wine has. Only the tests use it. */
typedef unsigned char BOOLEAN_BYTE;
__declspec(dllimport) BOOLEAN_BYTE __stdcall SystemFunction036(void *, unsigned long); /* RtlGenRandom, in advapi32 */

__declspec(dllexport) int __stdcall ProcessPrng(unsigned char *to, unsigned long long len)
{
    while (len > 0) {
        unsigned long part = len > 0x10000000 ? 0x10000000 : (unsigned long)len;
        if (!SystemFunction036(to, part)) {
            return 0;
        }
        to += part;
        len -= part;
    }
    return 1;
}
