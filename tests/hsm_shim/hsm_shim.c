/* A pretend network HSM: a PKCS#11 module that wraps another one and adds what a network HSM does to its users.
 *
 * It copies the wrapped module's function list and replaces the entries that the signing path uses; the rest go
 * straight through. The control file and the log are described in README.md. One rule above all: no signature
 * leaves, or is made and thrown away, without a line in the log. So the other ways to sign (multi-part, recover)
 * are refused.
 */
#include "hsm_shim.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST shim;

/* ---- the module, its slots and sessions ---- */

static CK_RV shim_initialize(void *arguments)
{
    CK_C_INITIALIZE_ARGS_PTR given = arguments;
    CK_RV result = enter(INITIALIZE);
    if (result == CKR_OK)
        result = real->C_Initialize(arguments);
    return log_call(INITIALIZE, 0, given ? given->flags : 0, result);
}

static CK_RV shim_finalize(void *reserved)
{
    CK_RV fault = enter(FINALIZE);
    forget_sessions();
    CK_RV result = real->C_Finalize(reserved);
    return log_call(FINALIZE, 0, 0, fault ? fault : result);
}

static CK_RV shim_get_slot_list(CK_BBOOL token_present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count)
{
    if (token_present && token_is_away()) {
        *count = 0;
        return CKR_OK;
    }
    return real->C_GetSlotList(token_present, slots, count);
}

static CK_RV shim_get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
    CK_RV result = real->C_GetSlotInfo(slot, info);
    if (result == CKR_OK && token_is_away())
        info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
    return result;
}

static CK_RV shim_get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
    CK_RV result = enter(GET_TOKEN_INFO);
    if (result == CKR_OK)
        result = real->C_GetTokenInfo(slot, info);
    unsigned long cap = session_cap();
    if (result == CKR_OK && cap) {
        info->ulMaxSessionCount = cap;
        info->ulSessionCount = capped_sessions(cap);
    }
    return result;
}

static CK_RV shim_get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
    CK_RV result = enter(GET_MECHANISM_LIST);
    if (result == CKR_OK)
        result = real->C_GetMechanismList(slot, list, count);
    if (result != CKR_OK || !list) /* the length may be too large, never too small */
        return result;
    CK_ULONG kept = 0;
    for (CK_ULONG i = 0; i < *count; i++)
        if (!is_hidden(list[i]))
            list[kept++] = list[i];
    *count = kept;
    return CKR_OK;
}

static CK_RV shim_get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO_PTR info)
{
    return is_hidden(mechanism) ? CKR_MECHANISM_INVALID : real->C_GetMechanismInfo(slot, mechanism, info);
}

static CK_RV shim_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                               CK_SESSION_HANDLE *handle)
{
    CK_RV result = enter(OPEN_SESSION);
    if (result == CKR_OK)
        result = open_session(slot, flags, application, notify, handle);
    return log_call(OPEN_SESSION, result == CKR_OK ? *handle : 0, flags, result);
}

static CK_RV shim_close_session(CK_SESSION_HANDLE handle)
{
    CK_RV fault = enter(CLOSE_SESSION);
    CK_RV result = close_session(handle);
    return log_call(CLOSE_SESSION, handle, 0, fault ? fault : result);
}

/* ---- what is only passed on, unless a fault is drawn ---- */

#define PASS_ON(function, call)     \
    CK_RV result = enter(function); \
    if (result == CKR_OK) {         \
        begin_call();               \
        result = real->call;        \
        end_call();                 \
    }

static CK_RV shim_get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
    PASS_ON(GET_SESSION_INFO, C_GetSessionInfo(session, info))
    return result;
}

static CK_RV shim_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
    PASS_ON(LOGIN, C_Login(session, user, pin, length))
    return log_call(LOGIN, session, user, result);
}

static CK_RV shim_logout(CK_SESSION_HANDLE session)
{
    PASS_ON(LOGOUT, C_Logout(session))
    return log_call(LOGOUT, session, 0, result);
}

static CK_RV shim_find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
    PASS_ON(FIND_OBJECTS_INIT, C_FindObjectsInit(session, template, count))
    return result;
}

static CK_RV shim_find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG room, CK_ULONG_PTR count)
{
    PASS_ON(FIND_OBJECTS, C_FindObjects(session, objects, room, count))
    return result;
}

static CK_RV shim_get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                      CK_ULONG count)
{
    PASS_ON(GET_ATTRIBUTE_VALUE, C_GetAttributeValue(session, object, template, count))
    return result;
}

static CK_RV shim_generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_ATTRIBUTE_PTR public_key,
                                    CK_ULONG public_count, CK_ATTRIBUTE_PTR private_key, CK_ULONG private_count,
                                    CK_OBJECT_HANDLE_PTR public_handle, CK_OBJECT_HANDLE_PTR private_handle)
{
    PASS_ON(GENERATE_KEY_PAIR, C_GenerateKeyPair(session, mechanism, public_key, public_count, private_key,
                                                 private_count, public_handle, private_handle))
    return log_call(GENERATE_KEY_PAIR, session, mechanism->mechanism, result);
}

static CK_RV shim_destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    PASS_ON(DESTROY_OBJECT, C_DestroyObject(session, object))
    return log_call(DESTROY_OBJECT, session, object, result);
}

/* ---- signing ---- */

static CK_RV shim_sign_init(CK_SESSION_HANDLE handle, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    if (mechanism && is_hidden(mechanism->mechanism))
        return CKR_MECHANISM_INVALID;
    PASS_ON(SIGN_INIT, C_SignInit(handle, mechanism, key))
    if (result == CKR_OK)
        set_mechanism(handle, mechanism->mechanism);
    return result;
}

static CK_RV real_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                       CK_ULONG_PTR size)
{
    begin_call();
    CK_RV result = real->C_Sign(handle, data, length, signature, size);
    end_call();
    return result;
}

/* Ends the operation that an injected error pretends has failed: the signature is made and thrown away. A token that
 * went away took the operation with it, and makes none. */
static void sign_and_discard(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length)
{
    CK_BYTE scratch[2048];
    CK_ULONG size = sizeof scratch;
    CK_MECHANISM_TYPE mechanism = mechanism_of(handle);
    CK_RV result = real_sign(handle, data, length, scratch, &size);
    if (result == CKR_OK)
        log_signature(handle, mechanism, data, length, result, true);
}

static CK_RV sign_on_processor(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                               CK_ULONG_PTR size)
{
    CK_RV fault = enter(SIGN);
    CK_MECHANISM_TYPE mechanism = mechanism_of(handle); /* before the call: a restart after it forgets the session */
    if (fault) {
        sign_and_discard(handle, data, length);
        return fault;
    }
    CK_RV result = real_sign(handle, data, length, signature, size);
    /* A question for the length, or a buffer too small, makes no signature and leaves the operation open. */
    if (signature && result != CKR_BUFFER_TOO_SMALL)
        log_signature(handle, mechanism, data, length, result, false);
    return result;
}

static CK_RV shim_sign(CK_SESSION_HANDLE handle, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                       CK_ULONG_PTR size)
{
    int processor = take_processor();
    CK_RV result = sign_on_processor(handle, data, length, signature, size);
    leave_processor(processor);
    return result;
}

static CK_RV refuse_update(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length)
{
    (void)session, (void)data, (void)length;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_final(CK_SESSION_HANDLE session, CK_BYTE_PTR signature, CK_ULONG_PTR length)
{
    (void)session, (void)signature, (void)length;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_recover(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key)
{
    (void)session, (void)mechanism, (void)key;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

static CK_RV refuse_sign_encrypt(CK_SESSION_HANDLE session, CK_BYTE_PTR part, CK_ULONG length, CK_BYTE_PTR encrypted,
                                 CK_ULONG_PTR size)
{
    (void)session, (void)part, (void)length, (void)encrypted, (void)size;
    return CKR_FUNCTION_NOT_SUPPORTED;
}

/* ---- loading ---- */

static void replace_functions(void)
{
    shim = *real;
    shim.C_GetFunctionList = C_GetFunctionList;
    shim.C_Initialize = shim_initialize;
    shim.C_Finalize = shim_finalize;
    shim.C_GetSlotList = shim_get_slot_list;
    shim.C_GetSlotInfo = shim_get_slot_info;
    shim.C_GetTokenInfo = shim_get_token_info;
    shim.C_GetMechanismList = shim_get_mechanism_list;
    shim.C_GetMechanismInfo = shim_get_mechanism_info;
    shim.C_OpenSession = shim_open_session;
    shim.C_CloseSession = shim_close_session;
    shim.C_CloseAllSessions = close_all_sessions;
    shim.C_GetSessionInfo = shim_get_session_info;
    shim.C_Login = shim_login;
    shim.C_Logout = shim_logout;
    shim.C_FindObjectsInit = shim_find_objects_init;
    shim.C_FindObjects = shim_find_objects;
    shim.C_GetAttributeValue = shim_get_attribute_value;
    shim.C_GenerateKeyPair = shim_generate_key_pair;
    shim.C_DestroyObject = shim_destroy_object;
    shim.C_SignInit = shim_sign_init;
    shim.C_Sign = shim_sign;
    shim.C_SignUpdate = refuse_update;
    shim.C_SignFinal = refuse_final;
    shim.C_SignRecoverInit = refuse_recover;
    shim.C_SignEncryptUpdate = refuse_sign_encrypt;
}

static void load_wrapped(void)
{
    const char *path = getenv("HSM_SHIM_MODULE");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = NULL;
    if (module)
        *(void **)&get = dlsym(module, "C_GetFunctionList");
    if (!get || get(&real) != CKR_OK) {
        fprintf(stderr, "hsm_shim: HSM_SHIM_MODULE does not name a PKCS#11 module: %s\n", path ? path : "it is not set");
        real = NULL;
        return;
    }
    use_control_file(getenv("HSM_SHIM_CONTROL"));
    open_log();
    replace_functions();
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_wrapped);
    if (!real)
        return CKR_GENERAL_ERROR;
    *list = &shim;
    return CKR_OK;
}
